"""Bringing new units into a fleet, as steps without prompts: contact, keys, stages, and what is written down.

    units.py     a unit on its way, and the addresses that people write
    contact.py   who answers, with which host key, and whether that one was accepted
    access.py    the pair of keys, and logging in with a password or with the key alone
    stages.py    the plays of onboard.yaml, each over the connection that is right for it
    judging.py   names, groups, and units that are in the fleet already: pure
    recording.py known_hosts, the entry and the facts: all of it, or nothing

The order of the steps, and every question, is `commands/onboard.py`.
"""
