"""What the browser gets: NiceGUI elements that show the views and change only where those change."""
