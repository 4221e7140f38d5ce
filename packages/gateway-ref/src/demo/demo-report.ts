// What the demonstration says, as text. Facts in, lines out.

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
  /** Where the client's datagrams came from, on each channel. */
  readonly sources: readonly string[]
  readonly gatewayAddress: string
  readonly pool: string
  readonly packets: number
  readonly packetsWithPoolAddress: number
}

/** A line of the report: what it is about, and what there is to say. */
export function line(subject: string, text: string): string {
  return `${subject.padEnd(subjectColumns)}${text}\n`
}

/** A line of figures, without subject. */
export function figure(name: string, value: string): string {
  return line('', `${name.padEnd(figureColumns)}${value}`)
}

export function channelFigures({ roundTripMs, bytes, uploadSeconds, downloadSeconds }: ChannelFacts): string {
  const size = megabytes(bytes)
  return (
    figure('round trip', `${roundTripMs.toFixed(2)} ms`) +
    figure(`${size} to the intranet`, `${speed(bytes, uploadSeconds)}`) +
    figure(`${size} back, SHA-256 equal`, `${speed(bytes, downloadSeconds)}`)
  )
}

export function sightLines({ sources, gatewayAddress, pool, packets, packetsWithPoolAddress }: SightFacts): string {
  const seen = [...new Set(sources.map(source => source.slice(0, source.lastIndexOf(':'))))].join(', ')
  return (
    line(
      'intranet saw',
      `the client as ${seen}, which is ${seen === gatewayAddress ? "the gateway's own address" : 'strange'}`,
    ) + line('', `${packets} packets, ${packetsWithPoolAddress || 'none'} of them with an address of the pool ${pool}`)
  )
}

/** How to connect from a terminal of the same computer. */
export interface InvitationFacts {
  readonly url: string
  readonly username: string
  readonly passwordFile: string
  readonly pin: string
  readonly intranet: string
  /** How this program is called. */
  readonly program: string
  /** Whether the terminal's user becomes root by sudo. */
  readonly sudo: boolean
}

export function invitation(facts: InvitationFacts): string {
  const { url, username, passwordFile, pin, intranet, program, sudo } = facts
  const openconnect = `openconnect --user=${username} --passwd-on-stdin --servercert=${pin} ${url} < ${passwordFile}`
  const own = `${program} connect ${url} --user ${username} --password-file ${passwordFile} --server-pin ${pin}`
  return `
The gateway stays up until Ctrl-C. Connect a stock client, or ours, from another terminal here:

  ${sudo ? `sudo sh -c '${openconnect}'` : openconnect}
  ${sudo ? 'sudo ' : ''}${own}

Then reach the intranet through the tunnel's interface (tun0, or tb1 with ours):

  ping -I tun0 ${intranet}

`
}

/** A duration, in the unit that fits. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

const subjectColumns = 14
const figureColumns = 30

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}

function speed(bytes: number, seconds: number): string {
  return `${Math.round((bytes * 8) / seconds / 1e6)} Mbit/s`
}
