// The load generator of `bench -- sessions`: one process with many sessions of one gateway. It takes one JSON command a line on
// standard input, and answers each by one JSON line on standard output.
//
//   arguments: URL USER PASSWORD ECHO-ADDRESS ECHO-PORT PAYLOAD-BYTES
//   {"do":"open","count":N,"concurrency":N}   more sessions, so many logins at once
//   {"do":"echo","sessions":N,"window":N,"seconds":N,"paceMs":N}
//       the first N sessions keep `window` packets each on the way, or with paceMs send one each so often
//   {"do":"close"}                            all sessions say goodbye
import { createInterface } from 'node:readline'
import { quantile } from '../harness/statistics.ts'
import { LoadSession } from './load-session.ts'

export interface OpenCommand {
  readonly do: 'open'
  readonly count: number
  readonly concurrency: number
}

export interface EchoCommand {
  readonly do: 'echo'
  readonly sessions: number
  readonly window: number
  readonly seconds: number
  readonly paceMs?: number
}

export type Command = OpenCommand | EchoCommand | { readonly do: 'close' }

export interface OpenAnswer {
  readonly seconds: number
  /** Times of a session, from its first byte to the datagram channel. */
  readonly times: Times
}

/** Milliseconds of many of a kind. */
export interface Times {
  readonly p50: number
  readonly p95: number
}

export interface EchoAnswer {
  readonly seconds: number
  /** Packets that came back, by session. */
  readonly echoed: readonly number[]
  readonly sent: number
  readonly lost: number
  readonly roundTrips: Times
}

// A packet that is not back by then is taken for lost. Well above the round trips of a busy machine: packets sent again while the
// first ones wait in queues would only make these longer.
const patienceMs = 2000
const [url, username, password, address, port, payloadBytes] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
]
const sessions: LoadSession[] = []

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command
  const answer = command.do === 'open' ? await open(command) : command.do === 'echo' ? await echo(command) : close()
  console.log(JSON.stringify(answer))
}
process.exit()

async function open({ count, concurrency }: OpenCommand): Promise<OpenAnswer> {
  const milliseconds: number[] = []
  const startedAt = performance.now()
  let begun = 0
  const worker = async (): Promise<void> => {
    while (begun < count) {
      begun += 1
      const from = performance.now()
      const echoAddress = { address, port: Number(port) }
      sessions.push(await LoadSession.open({ url, username, password }, echoAddress, Number(payloadBytes)))
      milliseconds.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return { seconds: (performance.now() - startedAt) / 1000, times: timesOf(milliseconds) }
}

function echo({ sessions: count, window, seconds, paceMs }: EchoCommand): Promise<EchoAnswer> {
  const chosen = sessions.slice(0, count)
  const milliseconds: number[] = []
  for (const session of chosen) {
    session.reset()
    session.onEcho = (_, one) => {
      if (milliseconds.length < 100_000) milliseconds.push(one)
    }
  }
  const fill = (): void => {
    const now = performance.now()
    for (const session of chosen) {
      if (session.inFlight > 0 && now - session.lastEchoAt > patienceMs) session.giveUp()
      for (let room = window - session.inFlight; room > 0; room -= 64) session.send(Math.min(room, 64))
    }
  }
  if (paceMs === undefined) {
    for (const session of chosen) {
      const note = session.onEcho
      session.onEcho = (one, time) => {
        note(one, time)
        // Half a window at once, so that there is a batch to seal.
        const room = window - one.inFlight
        if (room * 2 >= window) one.send(Math.min(room, 64))
      }
    }
    fill()
  }
  const startedAt = performance.now()
  let turn = 0
  const timer =
    paceMs === undefined
      ? setInterval(fill, 20)
      : setInterval(
          () => {
            const session = chosen[turn++ % chosen.length]!
            if (session.inFlight >= window) session.giveUp()
            session.send(1)
          },
          Math.max(1, paceMs / chosen.length),
        )
  return new Promise(resolve => {
    setTimeout(() => {
      clearInterval(timer)
      const elapsed = (performance.now() - startedAt) / 1000
      for (const session of chosen) session.onEcho = () => {}
      resolve({
        seconds: elapsed,
        echoed: chosen.map(session => session.echoed),
        sent: chosen.reduce((sum, session) => sum + session.sent, 0),
        lost: chosen.reduce((sum, session) => sum + session.lost, 0),
        roundTrips: timesOf(milliseconds),
      })
    }, seconds * 1000)
  })
}

function timesOf(milliseconds: readonly number[]): Times {
  return { p50: quantile(milliseconds, 0.5), p95: quantile(milliseconds, 0.95) }
}

function close(): Record<string, never> {
  for (const session of sessions.splice(0)) session.close()
  return {}
}
