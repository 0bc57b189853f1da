"""What the scheduler brings to the core: its settings and its commands. It owns no kind of device."""
