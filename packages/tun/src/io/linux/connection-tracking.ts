import { TunError } from '../../errors.ts'
import { parsePrefix } from '../../ip-text.ts'
import { errnoName } from './errno.ts'
import { type NetlinkReply, netlinkAttributes } from './netlink-message.ts'
import { NetlinkRefusal, NetlinkSocket, refusedWith } from './netlink-socket.ts'
import { familyNumber, NETLINK_NETFILTER } from './structs.ts'

// linux/netfilter/nfnetlink_conntrack.h: struct nfgenmsg (u8 family, u8 version, u16 resource id) and nested attributes.
const SUBSYSTEM = 1 << 8
const IPCTNL_MSG_CT_GET = SUBSYSTEM | 1
const IPCTNL_MSG_CT_DELETE = SUBSYSTEM | 2
const HEADER_BYTES = 4
const CTA_TUPLE_ORIG = 1
const CTA_TUPLE_IP = 1
const CTA_IP_V4_SRC = 1
const CTA_IP_V6_SRC = 3
const NLA_F_NESTED = 0x8000

/**
 * Removes from the kernel's connection tracking what was begun from addresses of these prefixes, such as `10.0.0.0/8`, so
 * that no late answer is translated back to them. Returns how many connections that were. A kernel without connection
 * tracking has none.
 *
 * @throws TunError `ERR_TUN_PERMISSION`, `ERR_TUN_SYSTEM`
 */
export function forgetConnections(prefixes: readonly string[]): number {
  const socket = new NetlinkSocket(NETLINK_NETFILTER)
  try {
    return prefixes.reduce((count, prefix) => count + forget(socket, prefix), 0)
  } catch (error) {
    if (!(error instanceof NetlinkRefusal)) throw error
    const name = errnoName(error.errno)
    const code = name === 'EPERM' ? 'ERR_TUN_PERMISSION' : 'ERR_TUN_SYSTEM'
    throw new TunError(code, `connection tracking: the kernel says ${name}`, { cause: error, errno: name })
  } finally {
    socket.close()
  }
}

function forget(socket: NetlinkSocket, text: string): number {
  const prefix = parsePrefix(text)
  if (!prefix) throw new TypeError(`not a prefix: '${text}'`)
  const header = new Uint8Array(HEADER_BYTES)
  header[0] = familyNumber(prefix.bytes)
  let connections: NetlinkReply[]
  try {
    connections = socket.list(IPCTNL_MSG_CT_GET, header)
  } catch (error) {
    if (refusedWith(error, 'EINVAL', 'EOPNOTSUPP', 'ENOENT')) return 0
    throw error
  }
  let count = 0
  for (const connection of connections) {
    const tuple = netlinkAttributes(connection.payload, HEADER_BYTES).get(CTA_TUPLE_ORIG)
    if (!tuple || !isInside(sourceOf(tuple), prefix)) continue
    try {
      socket.change(IPCTNL_MSG_CT_DELETE, 0, header, request => request.attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple))
      count++
    } catch (error) {
      // It ended by itself in the meantime.
      if (!refusedWith(error, 'ENOENT')) throw error
    }
  }
  return count
}

function sourceOf(tuple: Uint8Array): Uint8Array | undefined {
  const addresses = netlinkAttributes(tuple, 0).get(CTA_TUPLE_IP)
  if (!addresses) return undefined
  const attributes = netlinkAttributes(addresses, 0)
  return attributes.get(CTA_IP_V4_SRC) ?? attributes.get(CTA_IP_V6_SRC)
}

function isInside(
  address: Uint8Array | undefined,
  prefix: { readonly bytes: Uint8Array; readonly length: number },
): boolean {
  if (address?.length !== prefix.bytes.length) return false
  return address.every((byte, i) => {
    const kept = Math.min(8, Math.max(0, prefix.length - i * 8))
    return ((byte ^ prefix.bytes[i]!) & (0xff00 >> kept) & 0xff) === 0
  })
}
