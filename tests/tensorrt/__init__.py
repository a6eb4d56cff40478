"""The TensorRT provider and the stand-in of TensorRT, on which it runs without a GPU."""
