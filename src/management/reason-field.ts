/** Why somebody does what is out of the ordinary: for the audit log and for whoever reads it. */
import { z } from "zod";

const CHARACTERS_MAX = 500;

export const reasonField = z
  .string()
  .trim()
  .min(1, "must not be empty")
  .max(CHARACTERS_MAX, `must have at most ${CHARACTERS_MAX} characters`)
  .regex(/^\P{Cc}*$/u, "must not contain control characters")
  .meta({ example: "Launch week" });
