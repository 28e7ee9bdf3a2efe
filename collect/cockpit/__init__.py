"""The driver's cockpit: window, real-time loop, replay."""
