"""What the tests are run with: real databases, a real hub, and ways to look at what comes back."""
