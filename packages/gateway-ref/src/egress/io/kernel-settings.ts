import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { GatewayError } from '../../errors.ts'

/** Values of kernel settings, by their path below /proc/sys. */
export type Saved = Readonly<Record<string, string>>

/**
 * Settings of the kernel (sysctl) of this network namespace, changed for a while. What a setting was before is kept from
 * the first change on.
 */
export class KernelSettings {
  private readonly before = new Map<string, string>()

  /** The value of a setting, such as `net/ipv4/ip_forward`; `undefined` if this kernel does not have it. */
  read(name: string): string | undefined {
    const file = `/proc/sys/${name}`
    return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
  }

  /** Remembers what a setting is, and everything else that changing it would change. */
  remember(name: string): void {
    const own = this.read(name)
    if (own === undefined) return
    if (!this.before.has(name)) this.before.set(name, own)
    for (const { setting, follows } of affectedBy(name)) {
      const value = this.read(setting)
      if (value === undefined || (follows && value === own) || this.before.has(setting)) continue
      this.before.set(setting, value)
    }
  }

  /** Changes a setting that was remembered; one that this kernel lacks is passed over. @throws GatewayError */
  write(name: string, value: string): void {
    const current = this.read(name)
    if (current === undefined || current === value) return
    write(name, value)
  }

  /** What has to be written to be back at the start: a setting first, then the ones it changes along. */
  get saved(): Saved {
    return Object.fromEntries(this.before)
  }

  /** Takes everything back. */
  restore(): void {
    restoreSettings(this.saved)
    this.before.clear()
  }
}

/** Writes back what `saved` says, in its order, leaving alone what is right or no longer there. */
export function restoreSettings(saved: Saved): void {
  for (const [name, value] of Object.entries(saved)) {
    if (!/^net\/[A-Za-z0-9_./:@-]+$/.test(name) || name.includes('..')) continue
    const file = `/proc/sys/${name}`
    if (existsSync(file) && readFileSync(file, 'utf8').trim() !== value) write(name, value)
  }
}

function write(name: string, value: string): void {
  try {
    // The newline matters for lists: without it the kernel takes an empty one for nothing to do.
    writeFileSync(`/proc/sys/${name}`, `${value}\n`)
  } catch (cause) {
    throw new GatewayError('ERR_GATEWAY_HOST', `the kernel setting ${name} can't be set to '${value}'`, { cause })
  }
}

/**
 * Turning forwarding on or off for all interfaces overwrites the setting of each (those that are equal to it `follow` it
 * back) and, for IPv4, whether redirects are accepted.
 */
function affectedBy(name: string): { readonly setting: string; readonly follows: boolean }[] {
  const family = name === 'net/ipv4/ip_forward' ? 'ipv4' : name === 'net/ipv6/conf/all/forwarding' ? 'ipv6' : undefined
  const folder = `/proc/sys/net/${family}/conf`
  if (!family || !existsSync(folder)) return []
  const each = readdirSync(folder).map(device => ({
    setting: `net/${family}/conf/${device}/forwarding`,
    follows: true,
  }))
  return family === 'ipv4' ? [...each, { setting: 'net/ipv4/conf/all/accept_redirects', follows: false }] : each
}
