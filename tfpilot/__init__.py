"""TfPilot Ops: the rules and operations behind the operators' portal."""
