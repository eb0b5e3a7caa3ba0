"""What the server is compared with, each as a good engineer would write it, one file each."""
