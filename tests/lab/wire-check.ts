// Whether what a gateway sends to a client is encrypted: every byte of it lies in a record of DTLS or TLS.

/** What was found in the frames of a capture. */
export interface WireFindings {
  readonly dtlsRecords: number
  readonly tlsRecords: number
  /** Frames that are neither records of the port, nor neighbour discovery and the like, in hexadecimal. */
  readonly strange: readonly string[]
}

interface Segment {
  readonly sequence: number
  readonly bytes: Uint8Array
}

const ETHERNET = 14

/** Looks at the frames that come from `source` (an IPv4 address) and its `port`. Frames of others are not looked at. */
export function checkWire(frames: readonly Uint8Array[], source: Uint8Array, port: number): WireFindings {
  const strange: string[] = []
  const connections = new Set<Segment[]>()
  const current = new Map<number, Segment[]>()
  let dtlsRecords = 0
  const note = (frame: Uint8Array) => strange.push(Buffer.from(frame.subarray(0, 128)).toString('hex'))
  for (const frame of frames) {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
    if (view.getUint16(12) !== 0x0800 || !source.every((byte, i) => frame[ETHERNET + 12 + i] === byte)) continue
    const protocol = frame[ETHERNET + 9]!
    const transport = ETHERNET + (frame[ETHERNET]! & 15) * 4
    const end = ETHERNET + view.getUint16(ETHERNET + 2)
    const isOurs = (protocol === 6 || protocol === 17) && view.getUint16(transport) === port
    if (!isOurs) {
      note(frame)
    } else if (protocol === 17) {
      const records = countRecords(frame.subarray(transport + 8, end), 13, isDtls)
      if (records === undefined) note(frame)
      else dtlsRecords += records
    } else {
      const bytes = frame.subarray(transport + (frame[transport + 12]! >> 4) * 4, end)
      // Each SYN begins another connection: a port may be used again.
      const peer = view.getUint16(transport + 2)
      if ((frame[transport + 13]! & 2) !== 0 || !current.has(peer)) {
        const segments: Segment[] = []
        current.set(peer, segments)
        connections.add(segments)
      }
      if (bytes.length > 0) current.get(peer)!.push({ sequence: view.getUint32(transport + 4), bytes })
    }
  }
  let tlsRecords = 0
  for (const segments of connections) {
    const stream = reassemble(segments)
    const records = countRecords(stream, 5, isTls)
    if (records === undefined) strange.push(`a TCP stream of ${stream.length} bytes holds something else than records`)
    else tlsRecords += records
  }
  return { dtlsRecords, tlsRecords, strange }
}

/** Puts segments together from the first number on, those sent again once, up to the first gap. */
function reassemble(segments: readonly Segment[]): Uint8Array {
  const first = segments[0]?.sequence ?? 0
  const placed = segments
    .map(({ sequence, bytes }) => ({ at: (sequence - first) | 0, bytes }))
    .sort((a, b) => a.at - b.at)
  const parts: Uint8Array[] = []
  let length = 0
  for (const { at, bytes } of placed) {
    if (at > length) break
    if (at + bytes.length <= length) continue
    parts.push(bytes.subarray(length - at))
    length = at + bytes.length
  }
  return Buffer.concat(parts)
}

/** How many records `bytes` consists of; the last may be cut short in a TLS stream. `undefined`: there is something else. */
function countRecords(
  bytes: Uint8Array,
  headerBytes: 5 | 13,
  isRecord: (type: number, version: number, length: number) => boolean,
): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let count = 0
  let at = 0
  while (at + headerBytes <= bytes.length) {
    const length = view.getUint16(at + headerBytes - 2)
    if (!isRecord(bytes[at]!, view.getUint16(at + 1), length)) return undefined
    at += headerBytes + length
    count += 1
  }
  return headerBytes === 13 && at !== bytes.length ? undefined : count
}

// Change cipher spec, alert, handshake, application data (RFC 5246 §6.2.1).
const isKnown = (type: number): boolean => type >= 20 && type <= 23
const isDtls = (type: number, version: number, length: number): boolean =>
  isKnown(type) && (version === 0xfefd || version === 0xfeff) && length > 0
const isTls = (type: number, version: number, length: number): boolean =>
  isKnown(type) && version >= 0x0301 && version <= 0x0303 && length > 0 && length <= 16_384 + 256
