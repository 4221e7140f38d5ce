import { execFile } from 'node:child_process'
import { GatewayError } from '../../errors.ts'

/** What a run of `nft` said. */
export interface NftResult {
  readonly ok: boolean
  readonly output: string
  /** What it complained about, in one line. */
  readonly complaint: string
}

/** Loads a script with `nft -f -`, or runs a listing. Never through a shell. @throws GatewayError when nft is not installed */
export async function runNft(parameters: readonly string[], script?: string): Promise<NftResult> {
  return await new Promise((resolve, reject) => {
    const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`
    const options = { timeout: 30_000, maxBuffer: 64 * 1024 * 1024, env: { PATH: path, LC_ALL: 'C' } }
    const child = execFile('nft', [...parameters], options, (error, output, complaint) => {
      if (error && (error as NodeJS.ErrnoException).code === 'ENOENT') {
        reject(new GatewayError('ERR_GATEWAY_HOST', "the program 'nft' is missing: install nftables", { cause: error }))
        return
      }
      resolve({ ok: !error, output, complaint: complaint.trim().split('\n')[0] || (error?.message ?? '') })
    })
    // A script that nft refuses to read to the end shows in its exit code, not here.
    child.stdin?.on('error', () => {})
    child.stdin?.end(script ?? '')
  })
}

/** Loads a script. @throws GatewayError with what nft complained about */
export async function loadScript(script: string): Promise<void> {
  const result = await runNft(['-f', '-'], script)
  if (!result.ok) throw new GatewayError('ERR_GATEWAY_HOST', `nftables refuses the rules: ${result.complaint}`)
}

/** The listing of a table; `undefined` if there is none. */
export async function listTable(name: string): Promise<string | undefined> {
  const result = await runNft(['list', 'table', 'inet', name])
  if (result.ok) return result.output
  if (/no such file/i.test(result.complaint)) return undefined
  throw new GatewayError('ERR_GATEWAY_HOST', `nftables can't be read: ${result.complaint}`)
}
