import { TunError } from '../../errors.ts'
import { addressText, parseAddress } from '../../ip-text.ts'
import { type DatagramNotice, type DatagramSocketOptions, defaultDatagramBufferBytes } from '../../options.ts'
import { errno, errnoName } from './errno.ts'
import { SocketOptions } from './socket-options.ts'
import {
  AF_INET,
  AF_INET6,
  IPV6_V6ONLY,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SO_TYPE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from './structs.ts'
import type { Syscalls } from './syscalls.ts'
import { nameBytes, Zones } from './udp-address.ts'

/** Opens and binds a UDP socket. Returns its descriptor. @throws TunError `ERR_TUN_BIND` */
export function bindUdp(system: Syscalls, address: string, options: DatagramSocketOptions): number {
  const family = address.includes(':') ? 6 : 4
  const port = options.port ?? 0
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new RangeError('port must be 0 to 65535')
  const place = family === 6 ? `[${address}]:${port}` : `${address}:${port}`
  const refused = (error: number) =>
    new TunError('ERR_TUN_BIND', `UDP ${place} can't be bound: ${errnoName(error)}`, { errno: errnoName(error) })
  const name = writeName(system, address, port, family)
  if (!name) throw refused(errno.EINVAL)
  const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC
  const descriptor = system.socket(family === 4 ? AF_INET : AF_INET6, type, 0)
  if (descriptor === -1) throw refused(system.lastError())
  try {
    const sockets = new SocketOptions(system)
    const must = (error: number) => {
      if (error !== 0) throw refused(error)
    }
    if (family === 6) must(sockets.set(descriptor, SOL_IPV6, IPV6_V6ONLY, options.ipv6Only ? 1 : 0))
    if (options.reuseAddr) must(sockets.set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1))
    if (options.reusePort) must(sockets.set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1))
    if (system.bind(descriptor, system.library.addressOf(name), nameBytes(family)) === -1) {
      throw refused(system.lastError())
    }
    tune(sockets, descriptor, options)
    return descriptor
  } catch (error) {
    system.close(descriptor)
    throw error
  }
}

/** Sets what makes a socket faster and what it works without. */
function tune(sockets: SocketOptions, descriptor: number, options: DatagramSocketOptions): void {
  const { onNotice } = options
  const receive = options.recvBufferBytes ?? defaultDatagramBufferBytes
  const send = options.sendBufferBytes ?? defaultDatagramBufferBytes
  const granted = setBuffer(sockets, descriptor, SO_RCVBUFFORCE, SO_RCVBUF, receive)
  if (granted < receive) onNotice?.(smallBuffer('receive-buffer-small', 'rmem_max', receive, granted))
  const grantedSend = setBuffer(sockets, descriptor, SO_SNDBUFFORCE, SO_SNDBUF, send)
  if (grantedSend < send) onNotice?.(smallBuffer('send-buffer-small', 'wmem_max', send, grantedSend))
  if (options.gro === false) return
  const error = sockets.set(descriptor, SOL_UDP, UDP_GRO, 1)
  if (error === 0) return
  onNotice?.({ code: 'gro-off', message: `the system does not put datagrams together (${errnoName(error)})` })
}

/** Beyond the system's limit where the privilege allows it. Returns what was granted. */
function setBuffer(sockets: SocketOptions, descriptor: number, force: number, plain: number, bytes: number): number {
  if (sockets.set(descriptor, SOL_SOCKET, force, bytes) !== 0) sockets.set(descriptor, SOL_SOCKET, plain, bytes)
  // The kernel doubles what it is asked for, to have room for its own book-keeping.
  return (sockets.get(descriptor, SOL_SOCKET, plain) ?? 0) / 2
}

function smallBuffer(code: DatagramNotice['code'], limit: string, asked: number, granted: number): DatagramNotice {
  return {
    code,
    message: `the system gives ${granted} of ${asked} bytes of buffer: raise net.core.${limit}, or give CAP_NET_ADMIN`,
  }
}

/** A socket address for bind; undefined for text that is none, or whose zone does not exist. */
function writeName(system: Syscalls, address: string, port: number, family: 4 | 6): ArrayBuffer | undefined {
  const name = new ArrayBuffer(nameBytes(6))
  const bytes = new Uint8Array(name)
  const view = new DataView(name)
  const percent = address.indexOf('%')
  const parsed = new Uint8Array(16)
  if (!parseAddress(percent === -1 ? address : address.slice(0, percent), parsed)) return undefined
  view.setUint16(0, family === 4 ? AF_INET : AF_INET6, true)
  view.setUint16(2, port)
  if (family === 4) bytes.set(parsed.subarray(12), 4)
  else {
    bytes.set(parsed, 8)
    const scope = percent === -1 ? 0 : new Zones(system).scopeOf(address.slice(percent + 1))
    if (percent !== -1 && scope === 0) return undefined
    view.setUint32(24, scope, true)
  }
  return name
}

export interface LocalName {
  readonly family: 4 | 6
  readonly address: string
  readonly port: number
}

/** What a socket is bound to. @throws TunError `ERR_TUN_BIND` when it is no UDP socket */
export function localName(system: Syscalls, descriptor: number, zones: Zones): LocalName {
  const memory = new ArrayBuffer(nameBytes(6) + 4)
  const view = new DataView(memory)
  const address = system.library.addressOf(memory)
  view.setUint32(nameBytes(6), nameBytes(6), true)
  const known = system.getsockname(descriptor, address, address + nameBytes(6)) === 0
  const error = known ? errno.EAFNOSUPPORT : system.lastError()
  const family = known ? view.getUint16(0, true) : 0
  const type = new SocketOptions(system).get(descriptor, SOL_SOCKET, SO_TYPE)
  if ((family !== AF_INET && family !== AF_INET6) || type !== SOCK_DGRAM) {
    throw new TunError('ERR_TUN_BIND', `descriptor ${descriptor} is not a UDP socket: ${errnoName(error)}`, {
      errno: errnoName(error),
    })
  }
  const bytes = new Uint8Array(memory)
  const port = view.getUint16(2)
  if (family === AF_INET) return { family: 4, address: addressText(bytes.subarray(4, 8)), port }
  const scope = view.getUint32(24, true)
  const text = addressText(bytes.subarray(8, 24))
  return { family: 6, address: scope === 0 ? text : `${text}%${zones.nameOf(scope)}`, port }
}
