"""crmlab's default recipe beside other tools: one split, one set of columns and one budget a set, a process a fit."""
