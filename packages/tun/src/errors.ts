/** Why a device or socket could not be opened or configured. */
export type TunErrorCode =
  /** This operating system has no implementation. */
  | 'ERR_TUN_UNSUPPORTED_PLATFORM'
  /** The FFI package `koffi` is missing or does not load here. */
  | 'ERR_TUN_NO_FFI'
  /** `/dev/net/tun` does not exist, or the kernel lacks the driver. */
  | 'ERR_TUN_NO_DRIVER'
  /** The process lacks the privilege (`CAP_NET_ADMIN`). */
  | 'ERR_TUN_PERMISSION'
  /** The interface exists and is in use by another process. */
  | 'ERR_TUN_BUSY'
  /** The interface name is taken by something that is not a TUN, or is not a valid name. */
  | 'ERR_TUN_NAME'
  /** An address, route or link setting was refused. */
  | 'ERR_TUN_SETTINGS'
  /** A UDP socket could not be bound. */
  | 'ERR_TUN_BIND'
  /** A system call failed in a way that none of the others describes. */
  | 'ERR_TUN_SYSTEM'

/** The failures of this package. `code` is the contract; `errno` is the system's name (`EPERM`) where there is one. */
export class TunError extends Error {
  override readonly name = 'TunError'
  readonly code: TunErrorCode
  readonly errno: string | undefined

  constructor(code: TunErrorCode, message: string, options: ErrorOptions & { readonly errno?: string } = {}) {
    super(message, options)
    this.code = code
    this.errno = options.errno
  }
}
