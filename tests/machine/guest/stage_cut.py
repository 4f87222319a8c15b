"""The boot after a power cut."""

from lib import apply
import work

work.check("after a power cut")
work.remember()
apply(work.MINUTELY)
