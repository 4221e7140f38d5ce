// Messages of rtnetlink (linux/netlink.h, linux/rtnetlink.h): a header of 16 bytes, a fixed part, attributes. Bytes only.

export const NLM_F_REQUEST = 0x1
export const NLM_F_ACK = 0x4
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400

export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3

export const RTM_NEWLINK = 16
export const RTM_GETLINK = 18
export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22
export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26
export const RTM_NEWNEIGH = 28
export const RTM_DELNEIGH = 29

const HEADER_BYTES = 16

/** Builds one message. Attributes are appended in order; nested ones between `begin` and `end`. */
export class NetlinkRequest {
  private readonly bytes = new Uint8Array(1024)
  private readonly view = new DataView(this.bytes.buffer)
  private length: number

  /** `fixed` is the family-specific part: ifinfomsg, ifaddrmsg or rtmsg. */
  constructor(type: number, flags: number, fixed: Uint8Array) {
    this.view.setUint16(4, type, true)
    this.view.setUint16(6, flags | NLM_F_REQUEST, true)
    this.bytes.set(fixed, HEADER_BYTES)
    this.length = HEADER_BYTES + fixed.length
  }

  attribute(type: number, value: Uint8Array): this {
    this.view.setUint16(this.length, value.length + 4, true)
    this.view.setUint16(this.length + 2, type, true)
    this.bytes.set(value, this.length + 4)
    this.length += (value.length + 7) & ~3
    return this
  }

  uint32(type: number, value: number): this {
    return this.attribute(type, uint32Bytes(value))
  }

  text(type: number, value: string): this {
    return this.attribute(
      type,
      Uint8Array.from(`${value}\0`, character => character.charCodeAt(0)),
    )
  }

  /** An attribute whose value is what `fill` appends. */
  nested(type: number, fill: (request: this) => void): this {
    const start = this.length
    this.attribute(type, new Uint8Array(0))
    fill(this)
    this.view.setUint16(start, this.length - start, true)
    return this
  }

  /** The finished message. */
  finish(sequence: number): Uint8Array {
    this.view.setUint32(0, this.length, true)
    this.view.setUint32(8, sequence, true)
    return this.bytes.subarray(0, this.length)
  }
}

/** One message of an answer. */
export interface NetlinkReply {
  readonly type: number
  readonly sequence: number
  /** Everything behind the header. */
  readonly payload: Uint8Array
}

/** Cuts what one receive brought into messages. Broken lengths end the list. */
export function netlinkReplies(bytes: Uint8Array): NetlinkReply[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const replies: NetlinkReply[] = []
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = view.getUint32(at, true)
    if (length < HEADER_BYTES || at + length > bytes.length) break
    replies.push({
      type: view.getUint16(at + 4, true),
      sequence: view.getUint32(at + 8, true),
      payload: bytes.subarray(at + HEADER_BYTES, at + length),
    })
    at += (length + 3) & ~3
  }
  return replies
}

/** The attributes behind the fixed part, by type. The last one of a type wins. */
export function netlinkAttributes(payload: Uint8Array, fixedBytes: number): Map<number, Uint8Array> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  const attributes = new Map<number, Uint8Array>()
  for (let at = fixedBytes; at + 4 <= payload.length; ) {
    const length = view.getUint16(at, true)
    if (length < 4 || at + length > payload.length) break
    attributes.set(view.getUint16(at + 2, true) & 0x3fff, payload.subarray(at + 4, at + length))
    at += (length + 3) & ~3
  }
  return attributes
}

export function uint32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}

export function readUint32(bytes: Uint8Array, at = 0): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at, true)
}
