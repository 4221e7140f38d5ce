// Layouts and constants of the kernel interface, for x86-64 and arm64 (asm-generic, LP64, little endian).

/** Flags of open(2). */
export const O_RDWR = 0x2
export const O_NONBLOCK = 0x800
export const O_CLOEXEC = 0x80000

/** linux/if_tun.h */
export const TUNSETIFF = 0x400454ca
export const TUNSETPERSIST = 0x400454cb
export const TUNGETFEATURES = 0x800454cf
export const TUNSETOFFLOAD = 0x400454d0
export const TUNSETVNETHDRSZ = 0x400454d8
/** What the reader of a TUN does for the kernel: checksums; super-packets of TCP, with ECN too; super-packets of UDP. */
export const TUN_F_CSUM = 0x01
export const TUN_F_TSO4 = 0x02
export const TUN_F_TSO6 = 0x04
export const TUN_F_TSO_ECN = 0x08
export const TUN_F_USO4 = 0x20
export const TUN_F_USO6 = 0x40
export const IFF_TUN = 0x0001
export const IFF_NO_PI = 0x1000
export const IFF_VNET_HDR = 0x4000
export const IFF_MULTI_QUEUE = 0x0100
export const IFF_TUN_EXCL = 0x8000

/** linux/socket.h */
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_NETLINK = 16
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOCK_CLOEXEC = 0x80000
export const SOCK_NONBLOCK = 0x800
export const MSG_TRUNC = 0x20
export const MSG_DONTWAIT = 0x40
export const SOL_SOCKET = 1
export const SO_REUSEADDR = 2
export const SO_TYPE = 3
export const SO_ERROR = 4
export const SO_SNDBUF = 7
export const SO_RCVBUF = 8
export const SO_REUSEPORT = 15
export const SO_SNDBUFFORCE = 32
export const SO_RCVBUFFORCE = 33
export const SO_MEMINFO = 55
export const SOL_IPV6 = 41
export const IPV6_V6ONLY = 26

/** linux/udp.h */
export const SOL_UDP = 17
export const UDP_SEGMENT = 103
export const UDP_GRO = 104

/** linux/netlink.h */
export const NETLINK_ROUTE = 0
export const NETLINK_NETFILTER = 12

/** struct ifreq of linux/if.h: char name[16] @0; u16 flags @16; 40 bytes. */
export const IFREQ_BYTES = 40
export const IFNAMSIZ = 16

/** Writes a struct ifreq with name and flags. */
export function writeIfreq(bytes: Uint8Array, name: string, flags: number): void {
  bytes.fill(0, 0, IFREQ_BYTES)
  for (let i = 0; i < name.length; i++) bytes[i] = name.charCodeAt(i)
  bytes[16] = flags & 0xff
  bytes[17] = flags >> 8
}

/** The name in a struct ifreq. */
export function readIfreqName(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return String.fromCharCode(...bytes.subarray(0, Math.min(end === -1 ? IFNAMSIZ : end, IFNAMSIZ)))
}

/** Whether the kernel would take this as an interface name: 1 to 15 characters, no slash, blank or colon. `%d` is a counter. */
export function isInterfaceName(name: string): boolean {
  return /^[!-~]{1,15}$/.test(name) && !/[/:]/.test(name) && name !== '.' && name !== '..'
}

/** The address family of 4 or 16 bytes. */
export function familyNumber(address: Uint8Array): number {
  return address.length === 4 ? AF_INET : AF_INET6
}
