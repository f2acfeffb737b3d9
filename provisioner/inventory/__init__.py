"""The hosts of an inventory, their groups and their variables, with Ansible's layout and precedence."""

from provisioner.inventory.model import Host, Inventory
from provisioner.inventory.read import load_inventory

__all__ = ["Host", "Inventory", "load_inventory"]
