"""A desktop inside a sandbox: a screen without a monitor, what looks at it, and what moves its mouse and keyboard.

Made of the image's own programs; the image ``desktop`` has them all.
"""
