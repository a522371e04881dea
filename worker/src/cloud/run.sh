# Runs in the sandbox: the command, and who ends it with all that it has started.
#
#   $1 the command   $2 its session   $3 its run   $4 how many seconds of silence are the end
#
# Each "on" on stdin says that somebody still waits for the command. Another word, the end of stdin,
# and silence end it, so that it does not outlive a worker that died.

exec 3<&0 </dev/null

# By what they were started with: a process may have left its group and its parent.
kill_marked() { # PATTERN
  local round files file
  for round in 1 2 3 4 5 6 7 8; do
    files=$(grep -lz -- "^COPILOT_RUN=$1" /proc/[0-9]*/environ)
    [ -n "$files" ] || return
    for file in $files; do
      file=${file#/proc/}
      kill -KILL "${file%/environ}"
    done
  done
} 2>/dev/null

end() { # SESSION RUN
  kill -KILL -- "-$command"
  kill_marked "$1/$2\$"
} 2>/dev/null

# What a run left whose watch was killed as well.
kill_marked "$2/"
# A group of its own.
set -m
COPILOT_RUN=$2/$3 /bin/bash -l -c "$1" 3<&- &
command=$!
set +m
# It is no business of the command's what this shell says of its end.
exec 2>/dev/null
(
  while read -r -t "$4" -u 3 word && [ "$word" = on ]; do :; done
  end "$2" "$3"
) &
watch=$!
wait "$command"
code=$?
kill -KILL "$watch"
end "$2" "$3"
exit "$code"
