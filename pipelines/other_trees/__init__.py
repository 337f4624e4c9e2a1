"""Small trees of the data sets beside PROX qualitative, in their true layout and with their known defects.

Everything is made from the stand-in body, so that the readers of `other_datasets` can be tested on files
whose truth is known. A room of its own, above `synthetic`.
"""
