import { spawn } from 'node:child_process'

export interface FinishedProgram {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end, killing it after `timeoutMs`. */
export function run(
  program: string,
  args: readonly string[],
  input = '',
  timeoutMs = 30_000,
): Promise<FinishedProgram> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'pipe' })
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', chunk => (stdout += chunk))
    child.stderr.on('data', chunk => (stderr += chunk))
    child.on('error', reject)
    child.on('close', code => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
