// Linux error numbers (asm-generic: the same on x86-64 and arm64), the ones that this package tells apart or reports.

export const errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EMFILE: 24,
  ENOSPC: 28,
  ERANGE: 34,
  ENOSYS: 38,
  EBADFD: 77,
  ENOTSOCK: 88,
  EMSGSIZE: 90,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNRESET: 104,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
} as const

const names = new Map<number, string>(Object.entries(errno).map(([name, number]) => [number, name]))

/** `EPERM` for 1, and so on; `errno 123` for numbers without a name here. */
export function errnoName(number: number): string {
  return names.get(number) ?? `errno ${number}`
}

/**
 * Whether a call on a socket may have failed for the sake of an earlier datagram: an ICMP error about it is reported to
 * whichever call comes next, once.
 */
export function isPendingError(number: number): boolean {
  return (
    number === errno.ECONNREFUSED ||
    number === errno.EHOSTUNREACH ||
    number === errno.ENETUNREACH ||
    number === errno.EHOSTDOWN ||
    number === errno.ECONNRESET ||
    number === errno.EINTR
  )
}
