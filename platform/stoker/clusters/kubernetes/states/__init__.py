"""What the state of a run is: by its RayJob, its pods and their events."""
