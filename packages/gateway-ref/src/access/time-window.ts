import type { TimeWindow } from './access-policy.ts'

const DAY_MINUTES = 24 * 60
const weekdays = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']

/** Making one takes a hundred times as long as using it; there are few zones in a policy. */
const formats = new Map<string, Intl.DateTimeFormat>()
const MOST_FORMATS = 64

/** Whether `zone` is a name of the tz database that this program knows. */
export function isTimeZone(zone: string): boolean {
  try {
    formatOf(zone)
    return true
  } catch {
    return false
  }
}

/** Whether a moment lies in a window, by the clocks of its zone. */
export function isWithin({ days, from, to, zone }: TimeWindow, now: number): boolean {
  const { day, minute } = localTime(zone, now)
  if (from < to) return days.includes(day) && minute >= from && minute < to
  // Past midnight: the hours before it belong to today, those after it to yesterday. Equal ends are a whole day.
  return (days.includes(day) && minute >= from) || (days.includes((day + 6) % 7) && minute < to)
}

/**
 * When a window next may begin or end, so that what depends on it is decided anew: a whole minute after `now`, at most a
 * day later. Never later than the change itself; a change of the clocks may make it earlier.
 */
export function nextChange({ from, to, zone }: TimeWindow, now: number): number {
  const { minute } = localTime(zone, now)
  const ahead = [from, to, 0].map(at => (at - minute + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES)
  const next = Math.floor(now / 60_000 + Math.min(...ahead)) * 60_000
  // Clocks change by up to two hours, at whole quarters of an hour: look again before one could have passed unseen.
  return Math.min(next, Math.floor(now / 900_000 + 1) * 900_000)
}

function localTime(zone: string, now: number): { readonly day: number; readonly minute: number } {
  let day = 0
  let minute = 0
  for (const { type, value } of formatOf(zone).formatToParts(now)) {
    if (type === 'weekday') day = weekdays.indexOf(value)
    else if (type === 'hour') minute += Number(value) * 60
    else if (type === 'minute') minute += Number(value)
  }
  return { day, minute }
}

function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone)
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      weekday: 'short',
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    })
    if (formats.size >= MOST_FORMATS) formats.clear()
    formats.set(zone, format)
  }
  return format
}
