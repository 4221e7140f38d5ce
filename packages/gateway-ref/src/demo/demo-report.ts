// What the demonstration says, as text. Facts in, lines out.
import { CLIENT_NAMESPACE } from './namespace-script.ts'

/** What was measured on one channel. */
export interface ChannelFacts {
  readonly roundTripMs: number
  /** Size of the file that went there and back. */
  readonly bytes: number
  readonly uploadSeconds: number
  readonly downloadSeconds: number
}

/** What the intranet saw. */
export interface SightFacts {
  /** Addresses that connections came from. */
  readonly sources: readonly string[]
  readonly gatewayAddress: string
  readonly pool: string
  readonly requests: number
  /** Bytes of packets that passed the tunnel, both ways. */
  readonly bytes: number
}

/** A line of the report: what it is about, and what there is to say. */
export function line(subject: string, text: string): string {
  return `${subject.padEnd(subjectColumns)}${text}\n`
}

export function channelFigures(
  channel: string,
  { roundTripMs, bytes, uploadSeconds, downloadSeconds }: ChannelFacts,
): string {
  const size = `${Math.round(bytes / 1e6)} MB`
  return (
    line(channel, `${'a page, median of 20'.padEnd(figureColumns)}${roundTripMs.toFixed(2)} ms`) +
    line('', `${`${size} to the intranet`.padEnd(figureColumns)}${speed(bytes, uploadSeconds)}`) +
    line('', `${`${size} back, SHA-256 equal`.padEnd(figureColumns)}${speed(bytes, downloadSeconds)}`)
  )
}

export function sightLines({ sources, gatewayAddress, pool, requests, bytes }: SightFacts): string {
  const seen = sources.join(', ')
  return (
    line(
      'intranet saw',
      `the client as ${seen}, which is ${seen === gatewayAddress ? "the gateway's own address" : 'strange'}; nobody from ${pool}`,
    ) + line('', `${requests} requests; ${Math.round(bytes / 1e6)} MB passed the tunnel in packets`)
  )
}

/** How to connect from a terminal of the same computer. */
export interface InvitationFacts {
  readonly url: string
  readonly username: string
  readonly passwordFile: string
  readonly pin: string
  readonly intranet: string
  /** Path of the script that gives openconnect's interface a namespace of its own. */
  readonly script: string
  /** How this program is called. */
  readonly program: string
  /** Whether the terminal's user becomes root by sudo: an interface of the system needs that, the gateway doesn't. */
  readonly sudo: boolean
}

export function invitation(facts: InvitationFacts): string {
  const { url, username, passwordFile, pin, intranet, script, program } = facts
  const sudo = facts.sudo ? 'sudo ' : ''
  const openconnect = `openconnect --user=${username} --passwd-on-stdin --servercert=${pin} --script=${script} ${url} < ${passwordFile}`
  const own = `${program} connect ${url} --user=${username} --password-file=${passwordFile} --server-pin=${pin}`
  return `
The gateway stays up until Ctrl-C. In another terminal, a stock client, its interface in a network namespace of its own:

  ${facts.sudo ? `sudo sh -c '${openconnect}'` : openconnect}

and in a third one, the intranet through it:

  ${sudo}ip netns exec ${CLIENT_NAMESPACE} curl http://${intranet}/

Our own client, on an interface of this computer:

  ${sudo}${own}

`
}

/** A duration, in the unit that fits. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

const subjectColumns = 14
const figureColumns = 30

function speed(bytes: number, seconds: number): string {
  return `${Math.round((bytes * 8) / seconds / 1e6)} Mbit/s`
}
