import type { Driver } from '@twinbore/core/io'
import { connectFlow, type StackHost } from '@twinbore/tun/io'
import type { NameQuery, NameQueryOutput } from '../name-query.ts'

/** Asks over a TCP connection: a length of two bytes before each message (RFC 1035 §4.2.2). Returns what closes it. */
export function askByStream(
  host: StackHost,
  { attempt, server, bytes }: Extract<NameQueryOutput, { type: 'ask-by-stream' }>,
  query: NameQuery,
  driver: Driver,
): () => void {
  const socket = connectFlow(host, { remote: { address: server.toString(), port: 53 } })
  let received: Buffer = Buffer.alloc(0)
  const question = Buffer.alloc(2 + bytes.length)
  question.writeUInt16BE(bytes.length)
  question.set(bytes, 2)
  socket.write(question)
  socket.on('data', (part: Buffer) => {
    received = Buffer.concat([received, part])
    const end = received.length < 2 ? undefined : 2 + received.readUInt16BE(0)
    if (end === undefined || received.length < end) return
    const answer = received.subarray(2, end)
    socket.destroy()
    driver.input(now => query.handleStreamAnswer(attempt, answer, now))
  })
  socket.on('error', () => driver.input(now => query.handleUnreachable(attempt, now)))
  socket.on('end', () => driver.input(now => query.handleUnreachable(attempt, now)))
  return () => socket.destroy()
}
