"""The same 69 features, computed in many ways from the same log: how far is each from the limit of the machine?"""
