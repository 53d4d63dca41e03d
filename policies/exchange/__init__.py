"""A policy in the forms of other libraries, written and read: one file a form, found by what it declares."""
