"""What hardware and firmware will report of an image, computed before it is ever started.

``boot`` lists what is measured on the way from the firmware into the kernel, and turns that list into the
registers of a TPM and of a TDX guest; ``snp`` and ``tdx`` compute what the processor measures at launch, from
facts about two firmware builds that ``ovmf`` reads out of them and ``firmware`` keeps. Everything here is a
function of bytes. ``docs/measurements.md`` explains each value and how to compute it by hand.
"""
