"""What TensorBoard shows of gradient balance: what is written, how it is read, and the page."""
