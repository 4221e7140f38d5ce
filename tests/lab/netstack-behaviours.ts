// What applications do in the tests of the stack, the same over kernel sockets and over flows of ours.
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { type Duplex, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'

export type Say = (value: object) => void

/** Bytes that cannot be compressed, the same for the same count. */
export function* content(total: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16))
  for (let left = total, n = 0; left > 0; n++) {
    const size = Math.min(left, 65_536 - ((n * 7919) % 1021))
    left -= size
    yield cipher.update(Buffer.alloc(size))
  }
}

export function contentHash(total: number): string {
  const hash = createHash('sha256')
  for (const chunk of content(total)) hash.update(chunk)
  return hash.digest('hex')
}

interface Received {
  readonly bytes: number
  readonly sha256: string
}

/** Reads to the end; a reset is an error. */
async function receive(stream: Duplex): Promise<Received> {
  const hash = createHash('sha256')
  let bytes = 0
  stream.on('data', chunk => {
    bytes += chunk.length
    hash.update(chunk)
  })
  await new Promise<void>((resolve, reject) => {
    stream.once('end', resolve)
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('closed without an end')))
  })
  return { bytes, sha256: hash.digest('hex') }
}

/** Writes so many bytes, at the pace of the stream. */
async function write(stream: Duplex, total: number): Promise<void> {
  for (const chunk of content(total)) if (!stream.write(chunk)) await once(stream, 'drain')
}

function abort(stream: Duplex): void {
  if (stream instanceof Socket) stream.resetAndDestroy()
  else stream.destroy(new Error('given up'))
}

export const servicePorts = [7001, 7002, 7003, 7004, 7005, 7007] as const
let resume: (() => void) | undefined

/** What the server at each port does with a connection. */
export async function serve(port: number, stream: Duplex, say: Say): Promise<void> {
  // A stream may fail while nobody waits for it.
  stream.on('error', () => {})
  switch (port) {
    // Takes everything to the end, then says what it was.
    case 7001:
      stream.end(JSON.stringify(await receive(stream)))
      break
    // Sends as much as is asked for and ends its half, then takes everything to the end.
    case 7002: {
      const [line] = (await once(stream, 'data')) as [Buffer]
      const rest = receive(stream)
      await write(stream, Number(line.toString()))
      stream.end()
      say({ served: await rest })
      break
    }
    // Takes nothing until it is told to.
    case 7003:
      await new Promise<void>(resolve => {
        resume = resolve
        say({ stalling: true })
      })
      stream.end(JSON.stringify(await receive(stream)))
      break
    // Sends something, and gives up as soon as the client ended its half.
    case 7004:
      await write(stream, 20_000)
      stream.resume()
      await once(stream, 'end')
      abort(stream)
      break
    // Says how the client's half ended.
    case 7005:
      say(
        await receive(stream).then(
          ({ bytes }) => ({ watched: 'ended', bytes }),
          () => ({ watched: 'reset' }),
        ),
      )
      stream.end()
      break
    default:
      await pipeline(stream, stream)
  }
}

/** Lets the server at port 7003 go on. */
export function resumeReading(): void {
  resume?.()
}

/** What a client is told to do; the answer has what came of it. */
export interface Order {
  readonly id: number
  readonly what: 'upload' | 'download' | 'expect-reset' | 'abort' | 'many' | 'resume'
  readonly address: string
  readonly port: number
  readonly bytes: number
  readonly count: number
}

export async function obey(order: Order, open: (address: string, port: number) => Duplex): Promise<object> {
  const { what, address, port, bytes, count } = order
  if (what === 'resume') {
    resumeReading()
    return { resumed: true }
  }
  if (what === 'many') {
    let good = 0
    const hash = contentHash(bytes)
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        const stream = open(address, 7007)
        Readable.from(content(bytes)).pipe(stream)
        if ((await receive(stream)).sha256 === hash) good++
      }
    }
    let left = count
    await Promise.all(Array.from({ length: 20 }, worker))
    return { good }
  }
  const startedAt = performance.now()
  const seconds = (): number => (performance.now() - startedAt) / 1000
  const stream = open(address, port)
  stream.on('error', () => {})
  switch (what) {
    // Our half ends first; theirs still carries the answer.
    case 'upload': {
      const answer = text(stream)
      await write(stream, bytes)
      stream.end()
      return { ...(JSON.parse(await answer) as Received), seconds: seconds() }
    }
    // Their half ends first; ours carries as much the other way afterwards.
    case 'download': {
      stream.write(`${bytes}\n`)
      const received = await receive(stream)
      const took = seconds()
      await write(stream, bytes)
      stream.end()
      return { ...received, seconds: took }
    }
    case 'expect-reset': {
      stream.end()
      return receive(stream).then(
        () => ({ outcome: 'ended' }),
        (error: Error) => ({ outcome: error.message }),
      )
    }
    default: {
      await write(stream, bytes)
      abort(stream)
      return { aborted: true }
    }
  }
}
