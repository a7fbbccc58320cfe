"""Published protocols: data, network and training of papers, for who has a GPU to run them."""
