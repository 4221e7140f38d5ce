import { accessSync, closeSync, constants, openSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { GatewayError } from '../../errors.ts'

/** Programs that the demonstration starts, with their Debian packages. */
const programs = { ip: 'iproute2', nft: 'nftables', unshare: 'util-linux' } as const

/**
 * Checks, before anything is made, that the host has what the demonstration needs.
 *
 * @throws GatewayError `ERR_GATEWAY_HOST` that names what is missing, on one line
 */
export function checkHostRequirements(environment: Readonly<Record<string, string | undefined>>): void {
  const missing = [...missingPrograms(environment.PATH ?? '')]
  if (process.platform !== 'linux') fail(`Linux; this is ${process.platform}`)
  if (process.getuid?.() !== 0)
    fail('root, for a TUN device and a network namespace; try: sudo env PATH="$PATH" npm start')
  if (!canOpenTun()) fail("a TUN device; /dev/net/tun can't be opened here")
  if (missing.length > 0) fail(`${missing.join(' and ')}`)
}

function fail(what: string): never {
  throw new GatewayError('ERR_GATEWAY_HOST', `the demonstration needs ${what}`)
}

function* missingPrograms(path: string): Iterable<string> {
  for (const [program, debianPackage] of Object.entries(programs)) {
    if (!path.split(delimiter).some(folder => isExecutable(join(folder, program)))) {
      yield `the program ${program} (Debian package ${debianPackage})`
    }
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function canOpenTun(): boolean {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'))
    return true
  } catch {
    return false
  }
}
