"""Keyboard, gamepads, wheels and pedals: from SDL events to one `DeviceState` per poll."""
