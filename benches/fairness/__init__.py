"""What one tenant can do to another: those who open and drop, those who do their worst, and shares."""
