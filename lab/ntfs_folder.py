"""ntfs_folder.py IMAGE PATH...: makes folders in an NTFS volume that is a file, by ntfs-3g's library.

ntfs-3g's programs make none without mounting, which takes a FUSE device.
"""
import ctypes
import ctypes.util
import stat
import sys

library = ctypes.CDLL(ctypes.util.find_library("ntfs-3g"), use_errno=True)
library.ntfs_mount.restype = ctypes.c_void_p
library.ntfs_pathname_to_inode.restype = ctypes.c_void_p
library.ntfs_pathname_to_inode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p]
library.ntfs_create.restype = ctypes.c_void_p
library.ntfs_create.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint8, ctypes.c_uint32]
library.ntfs_inode_close.argtypes = [ctypes.c_void_p]
library.ntfs_umount.argtypes = [ctypes.c_void_p, ctypes.c_int]


def done(result, what):
    if not result:
        sys.exit(f"{what}: error {ctypes.get_errno()}")
    return result


volume = done(library.ntfs_mount(sys.argv[1].encode(), 0), sys.argv[1])
for path in sys.argv[2:]:
    parent, _, name = path.rpartition("/")
    folder = done(library.ntfs_pathname_to_inode(volume, None, f"/{parent}".encode()), parent)
    made = library.ntfs_create(folder, 0, name.encode("utf-16-le"), len(name), stat.S_IFDIR)
    library.ntfs_inode_close(done(made, path))
    library.ntfs_inode_close(folder)
library.ntfs_umount(volume, 0)
