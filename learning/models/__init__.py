"""Models of its own that MLIoT fits: what scikit-learn and River lack, or have in another form."""
