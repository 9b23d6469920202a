"""What a person sees: the page with its charts, the terminal, the progress bar.

Tables and records come in, HTML, SVG and text go out.
"""
