// The capture format that Wireshark reads: draft-ietf-opsawg-pcapng. One section, one interface of raw IP packets,
// timestamps in nanoseconds. Little endian throughout.

const SECTION_HEADER = 0x0a0d0d0a
const INTERFACE_DESCRIPTION = 1
const ENHANCED_PACKET = 6
const LINKTYPE_RAW = 101

/** Which way a packet went, as seen by the program: `inbound` was read from the device, `outbound` written to it. */
export type CaptureDirection = 'inbound' | 'outbound'

export interface CaptureInterface {
  /** The interface name that the reader of the capture sees. */
  readonly name: string
  /** Bytes kept of each packet; 0 keeps all. @defaultValue 0 */
  readonly snapLength?: number
}

/** The start of a capture: section header and the description of its one interface. */
export function captureHeader(description: CaptureInterface): Uint8Array {
  const section = new Uint8Array(16)
  const sectionView = new DataView(section.buffer)
  sectionView.setUint32(0, 0x1a2b3c4d, true)
  sectionView.setUint16(4, 1, true)
  sectionView.setBigInt64(8, -1n, true)

  const name = asciiBytes(description.name)
  const options = [...option(2, name), ...option(9, Uint8Array.of(9)), 0, 0, 0, 0]
  const body = new Uint8Array(8 + options.length)
  const view = new DataView(body.buffer)
  view.setUint16(0, LINKTYPE_RAW, true)
  view.setUint32(4, description.snapLength ?? 0, true)
  body.set(options, 8)

  const header = block(SECTION_HEADER, section)
  const interfaceBlock = block(INTERFACE_DESCRIPTION, body)
  const result = new Uint8Array(header.length + interfaceBlock.length)
  result.set(header)
  result.set(interfaceBlock, header.length)
  return result
}

/** One packet. `nanoseconds` counts from 1970-01-01T00:00:00Z. */
export function capturedPacket(
  packet: Uint8Array,
  nanoseconds: bigint,
  direction: CaptureDirection,
  snapLength = 0,
): Uint8Array {
  const kept = snapLength === 0 ? packet.length : Math.min(packet.length, snapLength)
  const padded = (kept + 3) & ~3
  const body = new Uint8Array(20 + padded + 12)
  const view = new DataView(body.buffer)
  view.setUint32(4, Number((nanoseconds >> 32n) & 0xffff_ffffn), true)
  view.setUint32(8, Number(nanoseconds & 0xffff_ffffn), true)
  view.setUint32(12, kept, true)
  view.setUint32(16, packet.length, true)
  body.set(packet.subarray(0, kept), 20)
  view.setUint16(20 + padded, 2, true)
  view.setUint16(22 + padded, 4, true)
  view.setUint32(24 + padded, direction === 'inbound' ? 1 : 2, true)
  return block(ENHANCED_PACKET, body)
}

function block(type: number, body: Uint8Array): Uint8Array {
  const result = new Uint8Array(body.length + 12)
  const view = new DataView(result.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, result.length, true)
  result.set(body, 8)
  view.setUint32(8 + body.length, result.length, true)
  return result
}

function option(code: number, value: Uint8Array): number[] {
  const padding = new Array<number>((4 - (value.length & 3)) & 3).fill(0)
  return [code & 0xff, code >> 8, value.length & 0xff, value.length >> 8, ...value, ...padding]
}

function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, character => {
    const code = character.charCodeAt(0)
    return code > 0x1f && code < 0x7f ? code : 0x3f
  })
}
