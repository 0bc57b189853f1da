"""Admission: a pod that asks for a share is prepared for its grant, or refused with the reason; all others are never seen."""
