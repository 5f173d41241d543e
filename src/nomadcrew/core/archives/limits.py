"""The limits of archives that are imported. Each is checked before the part that it limits is read."""

MAX_ARCHIVE_BYTES = 64 * 2**20
# A directory entry has 46 bytes and a name; reading it takes some 700 bytes of memory.
MAX_ENTRIES = 5_000
MAX_DIRECTORY_BYTES = 2**20
# Of all entries, unpacked.
MAX_UNPACKED_BYTES = 256 * 2**20
# Text packs to a tenth; deflate reaches a thousandth with bytes that are all equal.
MAX_RATIO = 200
SMALL_BYTES = 2**20  # entries up to this size may have any ratio
# Some hundred thousand messages. The worst JSON of this size takes ten seconds of a thread.
MAX_JSON_BYTES = 32 * 2**20
# A message with the reactions of a hundred members, or a poll with their votes.
MAX_ITEM_BYTES = 2 * 2**20
MAX_DEPTH = 8
MAX_PEOPLE = 2_000
MAX_POLLS = 5_000
# Of an export with its files: less than the disk of a function.
MAX_EXPORT_BYTES = 400 * 2**20
# An export is answered at once up to this size: the limit of a reply of Lambda, less its encoding.
MAX_INLINE_BYTES = 4 * 2**20
