"""What the features service alone needs: open windows, their SQL, the watermark, the labels in closed windows."""
