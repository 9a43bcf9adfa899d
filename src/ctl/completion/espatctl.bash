# SPDX-License-Identifier: MIT
# Completion of espatctl(1) for bash. Names come from the service, if it answers at once.

_espatctl_names() {
	# The bus that stands on the line already is asked.
	local -a bus=()
	local i
	for ((i = 1; i < ${#COMP_WORDS[@]} - 1; i++)); do
		if [[ ${COMP_WORDS[i]} == --bus ]]; then
			bus=(--bus "${COMP_WORDS[i + 1]}")
			# `=` and `:` separate words here.
			local j=$((i + 2))
			while [[ ${COMP_WORDS[j]-} == [=:] || ${COMP_WORDS[j - 1]} == [=:] ]] &&
				((j < ${#COMP_WORDS[@]} - 1)); do
				bus[1]+=${COMP_WORDS[j]}
				((j++))
			done
		fi
	done
	espatctl "${bus[@]}" --json "$@" 2>/dev/null |
		grep -oE '"name":"[A-Za-z0-9_.-]+"' | cut -d'"' -f4
}

# The words of the line that are neither options nor their values, up to the present one.
_espatctl_positional() {
	local i word
	words=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--bus | --color | --timeout | --password-file | --bssid | --seconds | --bytes | --sysfs | \
			--udev-data | --rules | --textfile | --listen | --wait)
			((i++))
			while [[ ${COMP_WORDS[i + 1]-} == [=:] ]]; do ((i += 2)); done
			;;
		-*) ;;
		*) words+=("$word") ;;
		esac
	done
}

_espatctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local general='--bus --json --color --timeout --help --version'
	local commands='status devices tunnels certs wifi tunnel monitor trace command reload reset
		reprobe sync-time adopt disconnect log-level doctor udev metrics'
	local own='' choice='' what=''
	local -a words
	COMPREPLY=()

	case $prev in
	--bus) choice='system session' ;;
	--color) choice='auto always never' ;;
	--password-file | --textfile | --listen | --rules)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	--sysfs | --udev-data)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	--timeout | --bssid | --seconds | --bytes | --wait) return ;;
	esac
	if [[ $choice ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$choice" -- "$cur")
		return
	fi

	_espatctl_positional
	case ${words[0]-} in
	wifi) own='--password-file --bssid --hidden' ;;
	tunnel) own='--persist' ;;
	monitor) own='--seconds' ;;
	trace) own='--seconds --bytes' ;;
	doctor) own='--wait --rules --sysfs --udev-data' ;;
	udev) own='--write --rules --sysfs --udev-data' ;;
	metrics) own='--textfile --listen' ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$general $own" -- "$cur")
		return
	fi

	# One argument alone with a slash in it is the file.
	[[ "${#words[@]} ${words[*]}" == '1 trace' && $cur == */* ]] && words+=('')
	case "${#words[@]} ${words[*]}" in
	'0 ') choice=$commands ;;
	'1 certs')
		choice='list load erase verify rollback orphans authorities identities set-authority
			set-identity remove-authority remove-identity'
		;;
	'1 wifi') choice='status scan join leave' ;;
	'1 tunnel') choice='add remove' ;;
	'1 log-level') choice='error warning notice info debug' ;;
	'1 devices' | '1 trace' | '1 command' | '1 reset' | '1 reprobe' | '1 sync-time' | '1 adopt' | \
		'2 certs list' | '2 certs load' | '2 certs erase' | '2 certs verify' | \
		'2 certs orphans' | '2 wifi '*) what=devices ;;
	'1 tunnels' | '1 disconnect' | '2 tunnel remove') what=tunnels ;;
	'2 certs set-authority' | '2 certs remove-authority') what='certs authorities' ;;
	'2 certs set-identity' | '2 certs remove-identity') what='certs identities' ;;
	'2 certs rollback')
		choice="$(_espatctl_names certs authorities) $(_espatctl_names certs identities)"
		;;
	[3-9]' tunnel add '*)
		choice='device= host= port= authority= identity= server_name= address_family= insecure=
			alpn= ciphers= keep_alive= connect_timeout= wait_timeout= half_close_timeout=
			idle_timeout= max_waiting= max_clients= reserve= diagnose= mode= acl_users= acl_groups= allow_uids= allow_gids='
		compopt -o nospace 2>/dev/null
		;;
	'2 trace '* | *' certs load '* | *' certs set-'*)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	esac
	# shellcheck disable=SC2086
	[[ $what ]] && choice=$(_espatctl_names $what)
	mapfile -t COMPREPLY < <(compgen -W "$choice" -- "$cur")
}

complete -F _espatctl espatctl
