import type { HeaderLines } from './http-message.ts'
import { MAX_REPLY_HEAD_BYTES } from './limits.ts'

/** The head of the reply to CONNECT, and the bytes behind it. */
export interface ReplyHead {
  readonly status: number
  readonly reason: string
  readonly headers: HeaderLines
  /** What has arrived behind the head: the beginning of the tunnel. */
  readonly rest: Uint8Array
}

/**
 * Reads the head of the reply to CONNECT from a stream in whatever pieces it comes. Strict where it matters (a head of at
 * most 1 MiB, no folded lines, no line without a name) and without a limit on the number of lines, of which a gateway
 * with many routes sends thousands.
 */
export class ReplyHeadReader {
  private readonly maxBytes: number
  private bytes = new Uint8Array(4096)
  private length = 0
  private failed = false

  constructor(maxBytes: number = MAX_REPLY_HEAD_BYTES) {
    this.maxBytes = maxBytes
  }

  /** Takes the next bytes. `malformed` is final. */
  push(chunk: Uint8Array): ReplyHead | 'incomplete' | 'malformed' {
    if (this.failed) return 'malformed'
    const searchFrom = Math.max(0, this.length - 3)
    const wanted = Math.min(chunk.length, this.maxBytes + 4 - this.length)
    this.append(chunk.subarray(0, wanted))
    const end = this.findEnd(searchFrom)
    if (end === -1) {
      if (this.length <= this.maxBytes) return 'incomplete'
      this.failed = true
      return 'malformed'
    }
    const head = parseHead(new TextDecoder().decode(this.bytes.subarray(0, end)))
    if (!head) {
      this.failed = true
      return 'malformed'
    }
    const rest = new Uint8Array(this.length - end - 4 + chunk.length - wanted)
    rest.set(this.bytes.subarray(end + 4, this.length))
    rest.set(chunk.subarray(wanted), this.length - end - 4)
    return { ...head, rest }
  }

  private append(chunk: Uint8Array): void {
    if (this.length + chunk.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + chunk.length))
      grown.set(this.bytes.subarray(0, this.length))
      this.bytes = grown
    }
    this.bytes.set(chunk, this.length)
    this.length += chunk.length
  }

  /** Where CR LF CR LF begins, or -1. */
  private findEnd(from: number): number {
    const { bytes, length } = this
    for (let i = from; i + 3 < length; i++) {
      if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i
    }
    return -1
  }
}

function parseHead(text: string): Omit<ReplyHead, 'rest'> | undefined {
  const [statusLine, ...lines] = text.split('\r\n')
  const status = /^HTTP\/1\.[01] ([1-5]\d\d)(?: (.*))?$/.exec(statusLine!)
  if (!status) return undefined
  const headers: (readonly [string, string])[] = []
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(0, colon))
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) return undefined
    headers.push([name, line.slice(colon + 1).trim()])
  }
  return { status: Number(status[1]), reason: status[2] ?? '', headers }
}
