// Debian's openconnect as a client of any gateway of its protocol.
import { fileURLToPath } from 'node:url'
import type { LabNetwork } from './lab-network.ts'
import type { Finished, LabProcess } from './lab-process.ts'

export interface OpenconnectOptions {
  /** For instance `https://10.99.1.1:443`. */
  readonly url: string
  /** `pin-sha256:...` of the gateway. */
  readonly serverPin: string
  readonly user?: string
  /** Lines for standard input, one for each password that is asked for (the second may be an OTP). */
  readonly passwords?: readonly string[]
  readonly certificate?: string
  readonly key?: string
  /** The tunnel device. @defaultValue 'vpn0' */
  readonly device?: string
  /** Where the script writes what it was given. */
  readonly environmentFile?: string
  /** Makes its routes stand back behind those of other clients of the host. */
  readonly routeMetric?: number
  readonly more?: readonly string[]
}

const script = fileURLToPath(new URL('./vpnc-script.sh', import.meta.url))

/** Starts the client and returns at once. */
export function startOpenconnect(network: LabNetwork, options: OpenconnectOptions): LabProcess {
  const {
    url,
    serverPin,
    user,
    passwords,
    certificate,
    key,
    device = 'vpn0',
    environmentFile,
    routeMetric,
    more = [],
  } = options
  const env = {
    ...(environmentFile ? { VPN_ENV_FILE: environmentFile } : {}),
    ...(routeMetric ? { VPN_ROUTE_METRIC: `${routeMetric}` } : {}),
  }
  return network.start(
    'client',
    'openconnect',
    [
      ...['--verbose', '--non-inter', '--servercert', serverPin, '--script', script, '--interface', device],
      ...(user ? ['--user', user] : []),
      ...(passwords ? ['--passwd-on-stdin'] : []),
      ...(certificate ? ['--certificate', certificate] : []),
      ...(key ? ['--sslkey', key] : []),
      ...more,
      url,
    ],
    {
      ...(passwords ? { input: passwords.map(line => `${line}\n`).join('') } : {}),
      env,
    },
  )
}

/** Starts the client and waits until its tunnel is configured, and its DTLS channel is up unless `dtls` is false. */
export async function connectOpenconnect(
  network: LabNetwork,
  options: OpenconnectOptions,
  { dtls = true }: { readonly dtls?: boolean } = {},
): Promise<LabProcess> {
  const client = startOpenconnect(network, options)
  if (dtls) await client.waitFor(/Established DTLS connection/)
  // Its script's word that addresses and routes are in place; openconnect's own comes before that.
  await client.waitFor(/tunnel device \S+ is ready/)
  return client
}

/** The addresses that the client was given, in the order in which it prints them. */
export function tunnelAddresses(client: LabProcess): string[] {
  const line = /Configured as ([^\n]*?), with SSL/.exec(client.output)?.[1]
  if (line === undefined) throw new Error(`openconnect is not configured. Its output:\n${client.output}`)
  return line.split(/\s*\+\s*/).map(address => address.replace(/\/\d+$/, ''))
}

/** Ends the client as a user does with Ctrl+C: it says goodbye, so its cookie ends with it. */
export function endOpenconnect(client: LabProcess): Promise<Finished> {
  return client.stop('SIGINT')
}
