"""Pure geometry and metrics: kinematics, boxes, TTC, PDMS, driving score, comfort, caution, statistics."""
