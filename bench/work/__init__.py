"""The same work in each dialect: a playbook for Ansible, Mitogen and ours, a deploy for pyinfra, the floor's look."""
