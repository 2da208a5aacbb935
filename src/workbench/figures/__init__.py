"""One function per figure: it takes axes and returns nothing.

Data grey, score blue, alarms red, labels shaded; units from the field names, times in UTC. No
titles: the prose beside a figure is its title. `plt.style.use(figures.STYLE)` sets sizes and fonts.
They neither read, score nor judge: what they draw is handed to them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
