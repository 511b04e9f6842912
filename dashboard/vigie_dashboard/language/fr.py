"""French."""

TEXTS: dict[str, str] = {
    # Partout
    "application.title": "Vigie",
    "application.language": "Langue",
    "view.now": "Maintenant",
    "view.trend": "Tendance",
    "view.operation": "Exploitation",
    "unit.day": "j",
    "time.now": "à l’instant",
    "time.ago": "il y a {duration}",
    "quantity.temperature": "Température",
    "quantity.humidity": "Humidité",
    "quantity.co2": "CO₂",
    "quantity.pressure": "Pression",
    "quantity.battery_level": "Batterie",
    "quantity.battery_voltage": "Tension de batterie",
    "status.ok": "OK",
    "status.warning": "Avertissement",
    "status.critical": "Critique",
    "status.failure": "Panne",
    "status.stale": "Muet",
    "status.unknown": "Inconnu",
    "alert_kind.threshold": "Seuil",
    "alert_kind.fault": "Défaut",
    "alert_kind.silence": "Silence",
    "alert_kind.battery": "Batterie",
    "alert_kind.loss": "Perte",
    "mark.simulated": "simulé",
    "mark.estimated": "heure estimée",
    # États
    "state.loading": "Lecture de la base de données…",
    "state.empty.title": "Pas encore de mesure",
    "state.empty.text": (
        "La base de données est là et ne contient aucune mesure. Dès qu’une carte enverra la première, elle "
        "s’affichera ici d’elle-même."
    ),
    "state.nothing_chosen": "Rien ne correspond à ce qui est choisi.",
    "state.away.title": "La base de données est absente",
    "state.away.text": "Elle ne répond pas. Cette page réessaie d’elle-même, sans rechargement.",
    "state.away.stale": (
        "La base de données ne répond plus depuis {duration}. Ce qui est affiché date de {time}. Nouvel essai en cours."
    ),
    "state.not_vigie.title": "Ce n’est pas une base de données de Vigie",
    "state.not_vigie.text": (
        "Elle répond, mais ce compte n’y voit aucune table de Vigie. Vérifiez VIGIE_POSTGRES, et lancez "
        "`vigie-processor migrate` pour une base neuve."
    ),
    "state.schema.title": "La base de données est d’une version plus ancienne",
    "state.schema.text": "Il manque à ses tables ce que ce tableau de bord affiche. Lancez `vigie-processor migrate`.",
    "state.not_allowed.title": "Ce compte n’a pas le droit de lire les tables",
    "state.not_allowed.text": "Donnez-lui le rôle vigie_reader : `GRANT vigie_reader TO …`.",
    "state.slow.title": "La réponse a pris trop de temps",
    "state.slow.text": "La requête a été arrêtée à sa limite. Choisissez une période plus courte ou moins de capteurs.",
    "state.slow.stale": (
        "La dernière réponse a pris trop de temps et a été arrêtée. Ce qui est affiché date de {time}. "
        "Nouvel essai en cours."
    ),
    "state.settings.title": "Le tableau de bord n’est pas configuré",
    "state.failed.title": "Une erreur s’est produite dans le tableau de bord",
    "state.failed.text": "Le journal en contient les détails.",
    # Maintenant
    "now.title": "Maintenant",
    # Tendance
    "trend.title": "Tendance",
    "trend.sensors.choose": "Capteurs",
    "trend.sensors.placeholder": "Choisir des capteurs",
    "trend.quantities.choose": "Grandeurs",
    "trend.period": "Période",
    "trend.period.24h": "24 heures",
    "trend.period.7d": "7 jours",
    "trend.period.30d": "30 jours",
    "trend.period.custom": "Dates",
    "trend.period.dates": "Du et au",
    "trend.bucket": "Moyennes sur",
    "trend.bucket.help": (
        "Chaque point est la moyenne de toutes les mesures de cette durée. Les heures et les jours sont ceux de votre "
        "horloge."
    ),
    "trend.section": "Partie",
    "trend.section.evolution": "Évolution",
    "trend.section.alerts": "Alertes et pannes",
    "trend.section.sensors": "Capteurs",
    "trend.section.periods": "Périodes",
    "trend.section.correlation": "Corrélation",
    "trend.section.coverage": "Couverture et pertes",
    "trend.nothing_chosen": "Choisissez au moins un capteur et une grandeur.",
    "trend.future": "Cette période n’a pas encore commencé.",
    "trend.no_windows": (
        "Pour ces capteurs et cette période, le processeur n’a pas calculé de fenêtres dont on puisse tirer des "
        "moyennes."
    ),
    "trend.too_much": "C’est trop à la fois : choisissez moins de capteurs ou une période plus courte.",
    "trend.empty": "Ces capteurs n’ont pas de mesure dans cette période.",
    "trend.retention": (
        "Les fenêtres d’avant le {date} ont été supprimées : moyennes et couverture ne commencent qu’à cette date."
    ),
    "trend.footing": (
        "Du {start} au {end} ({zone}), par pas de {bucket}, à partir des fenêtres de {step} du processeur. Les "
        "moyennes sont pondérées par le nombre de mesures de chaque fenêtre."
    ),
    "trend.layout": "Disposition",
    "trend.layout.together": "Ensemble",
    "trend.layout.apart": "Séparément",
    "trend.evolution.bands": "La ligne est la moyenne, la bande va de la mesure la plus basse à la plus haute.",
    "trend.evolution.lines": "Les lignes sont des moyennes ; jusqu’à trois capteurs, des bandes montrent les extrêmes.",
    "trend.evolution.help": (
        "Dessous, la couverture : la part des mesures attendues qui sont là, hachurée au-dessous de 50 %. Les "
        "moyennes de ces moments-là, et celles qui sont isolées, sont des cercles vides. ▼ marque des mesures perdues."
    ),
    "trend.scope": "De quels capteurs",
    "trend.scope.all": "Tous les capteurs",
    "trend.scope.chosen": "Capteurs choisis",
    "trend.alerts": "Alertes",
    "trend.alerts.none": "Aucune alerte n’a été ouverte dans cette période.",
    "trend.alerts.in_time": "Alertes ouvertes",
    "trend.alerts.by_sensor": "Par capteur",
    "trend.alerts.by_cause": "Par type et cause",
    "trend.alerts.by_hour": "Alertes par jour de la semaine et heure",
    "trend.alerts.more": "Les {shown} qui ont le plus d’alertes, sur {count}. Le fichier CSV les contient tous.",
    "trend.stream": "{gateway} (flux)",
    "trend.failures.by_hour": "Mesures en panne des capteurs choisis par jour de la semaine et heure, en %",
    "trend.failures.none": "Aucune mesure des capteurs choisis n’est en panne dans cette période.",
    "trend.failures.share": "{failures} mesures sur {readings} en panne ({share}).",
    "trend.hour": "Heure du jour",
    "trend.kind": "Type",
    "trend.cause": "Cause",
    "trend.critical": "Critiques",
    "trend.open": "En cours",
    "trend.median": "Durée médiane",
    "trend.rank": "Rang",
    "trend.sensor": "Capteur",
    "trend.gateway": "Passerelle",
    "trend.average": "Moyenne",
    "trend.minimum": "Minimum",
    "trend.maximum": "Maximum",
    "trend.stddev": "Écart type",
    "trend.deviation": "Moyenne ± écart type",
    "trend.extremes": "Du minimum au maximum",
    "trend.readings": "Mesures",
    "trend.coverage": "Couverture",
    "trend.coverage.earlier": "Couverture avant",
    "trend.coverage.low": "Pas sous 50 %",
    "trend.coverage.buckets": "Pas",
    "trend.coverage.by_sensor": "Sur quoi reposent les moyennes",
    "trend.coverage.in_time": "Couverture dans le temps",
    "trend.coverage.help": (
        "La couverture est la part des mesures attendues, d’après l’intervalle d’un capteur et depuis sa première "
        "mesure, qui sont là. Hachuré : au-dessous de 50 %."
    ),
    "trend.warnings": "Avertissements",
    "trend.failures": "Pannes",
    "trend.late": "Tardives",
    "trend.lost.one": "{count} mesure perdue",
    "trend.lost.other": "{count} mesures perdues",
    "trend.lost.metric": "Perdues",
    "trend.lost.help": (
        "Mesures que les passerelles de ces capteurs ont numérotées et qui ne sont pas arrivées. Une passerelle "
        "numérote ensemble les mesures de tous ses capteurs : elles peuvent être d’un autre."
    ),
    "trend.losses": "Mesures perdues",
    "trend.losses.none": "Il ne manque aucune mesure de ces passerelles dans cette période.",
    "trend.losses.readings": "Mesures perdues",
    "trend.losses.after": "Après",
    "trend.losses.before": "Avant",
    "trend.losses.detected": "Constaté",
    "trend.losses.more": "Les {shown} plus grandes pertes sur {count}.",
    "trend.sensors.help": (
        "Classés par moyenne sur toute la période. Le trait épais est la moyenne ± un écart type des mesures, le trait "
        "fin va du minimum au maximum."
    ),
    "trend.compare": "Comparer avec",
    "trend.compare.before": "Les {days} j d’avant",
    "trend.compare.week": "Une semaine plus tôt",
    "trend.compare.4weeks": "4 semaines plus tôt",
    "trend.compare.dates": (
        "Du {start} au {end}, comparé à la période du {earlier_start} au {earlier_end}, aux mêmes heures de votre "
        "horloge."
    ),
    "trend.compare.none": "Ces capteurs n’ont pas de mesure dans la période antérieure.",
    "trend.current": "Cette période",
    "trend.earlier": "Avant",
    "trend.difference": "Différence",
    "trend.correlation.none": "Il faut au moins deux grandeurs mesurées.",
    "trend.correlation.matrix": "Corrélation des grandeurs",
    "trend.correlation.pair": "Deux d’entre elles",
    "trend.correlation.x": "En abscisse",
    "trend.correlation.y": "En ordonnée",
    "trend.correlation.help": (
        "r de Pearson des moyennes sur {bucket}, chacune par rapport à la moyenne de son capteur, pour que des lieux "
        "différents ne passent pas pour des grandeurs liées. n est le nombre de moyennes ; celles dont la couverture "
        "est inférieure à {least} sont écartées. Des moyennes voisines se ressemblent : r en dit moins que n moyennes "
        "indépendantes. Les points sont les moyennes telles quelles."
    ),
    "trend.download": "CSV",
    "trend.alt.evolution": "Moyennes dans le temps, avec extrêmes et couverture :",
    "trend.alt.alerts": "Nombre d’alertes par type.",
    "trend.alt.week": "Tableau des jours de la semaine et des heures.",
    "trend.alt.ranges": "Moyenne, écart type et extrêmes de chaque capteur :",
    "trend.alt.periods": "Cette période et la précédente :",
    "trend.alt.correlation": "Matrice des coefficients de corrélation.",
    "trend.alt.scatter": "Deux grandeurs l’une en fonction de l’autre.",
    "trend.alt.coverage": "Couverture dans le temps.",
    # Exploitation
    "operation.title": "Exploitation",
    "operation.as_of": "État à {time}, actualisé de lui-même",
    "operation.answered": "processeurs qui répondent : {heard} sur {asked}",
    "operation.all_well": (
        "Tout va bien. Processeurs au travail : {processors} ; passerelles qui émettent : {gateways}."
    ),
    "operation.nothing": "Rien pour l’instant.",
    "operation.no_answers": (
        "Aucun processeur ne peut être interrogé d’ici : latence, débit, lots et comptes sont inconnus. "
        "Suit ce que sait la base de données."
    ),
    "operation.ahead": "{duration} d’avance",
    "operation.median": "Médiane",
    "operation.messages": "Messages",
    "operation.rows": "Lignes",
    # Ce qui ne va pas
    "operation.finding.no_processor": "Aucun processeur ne donne signe de vie : les mesures attendent dans Kafka.",
    "operation.finding.gone.one": "{names} ne donne plus signe de vie.",
    "operation.finding.gone.other": "{count} processeurs ne donnent plus signe de vie : {names}.",
    "operation.finding.failed.one": "{names} est en échec et doit être relancé.",
    "operation.finding.failed.other": "{count} processeurs sont en échec et doivent être relancés : {names}.",
    "operation.finding.degraded.one": "{names} travaille en mode dégradé.",
    "operation.finding.degraded.other": "{count} processeurs travaillent en mode dégradé : {names}.",
    "operation.finding.starting.one": "{names} démarre.",
    "operation.finding.starting.other": "{count} processeurs démarrent : {names}.",
    "operation.finding.database": "{instance} ne peut pas utiliser la base de données : {reason}",
    "operation.finding.unread.one": "Personne ne lit la partition {names}.",
    "operation.finding.unread.other": "Personne ne lit {count} partitions : {names}.",
    "operation.finding.lag.one": "{count} message n’est pas encore dans la base de données.",
    "operation.finding.lag.other": "{count} messages ne sont pas encore dans la base de données.",
    "operation.finding.silent.one": "{names} n’émet plus.",
    "operation.finding.silent.other": "{count} passerelles n’émettent plus : {names}.",
    "operation.finding.behind.one": "{names} envoie ce qu’elle avait gardé : sa dernière mesure est ancienne.",
    "operation.finding.behind.other": (
        "{count} passerelles envoient ce qu’elles avaient gardé, leurs dernières mesures sont anciennes : {names}."
    ),
    "operation.finding.estimated.one": "{names} n’avait pas l’heure juste : ses heures sont estimées.",
    "operation.finding.estimated.other": (
        "{count} passerelles n’avaient pas l’heure juste, leurs heures sont estimées : {names}."
    ),
    "operation.finding.ahead.one": "L’horloge de {names} avance.",
    "operation.finding.ahead.other": "Les horloges de {count} passerelles avancent : {names}.",
    "operation.finding.missing.one": "Il manque {count} mesure.",
    "operation.finding.missing.other": "Il manque {count} mesures.",
    "operation.finding.notifications.one": "{count} notification n’est pas parvenue au webhook.",
    "operation.finding.notifications.other": "{count} notifications ne sont pas parvenues au webhook.",
    "operation.finding.unreachable.not_reachable": (
        "{endpoint} n’est pas joignable d’ici ; ce que lui seul sait n’est pas affiché."
    ),
    "operation.finding.unreachable.no_answer_in_time": (
        "{endpoint} ne répond pas à temps ; ce que lui seul sait n’est pas affiché."
    ),
    "operation.finding.unreachable.not_a_processor": (
        "{endpoint} ne répond pas comme un processeur ; il est laissé de côté."
    ),
    "operation.finding.unreachable.not_an_address": (
        "{endpoint} n’est pas une adresse que l’on puisse interroger ; il est laissé de côté."
    ),
    # Chiffres clés
    "operation.throughput": "Débit",
    "operation.throughput.note": "messages, à l’instant",
    "operation.lag": "En attente",
    "operation.lag.note": "messages à écrire",
    "operation.way": "De l’air à la ligne",
    "operation.way.note": "médiane ; 95 % en {p95}",
    "operation.batch": "Lot",
    "operation.batch.note": "médiane ; maximum {longest}",
    "operation.gateways_sending": "Passerelles actives",
    "operation.missing": "Mesures manquantes",
    "operation.holes.one": "{count} trou",
    "operation.holes.other": "{count} trous",
    "operation.sensors.one": "{count} capteur",
    "operation.sensors.other": "{count} capteurs",
    # Graphiques
    "operation.way.title": "De l’air à la ligne",
    "operation.stage.commit": "Air → disque",
    "operation.stage.send": "Disque → envoi",
    "operation.stage.receive": "Envoi → réception",
    "operation.stage.store": "Réception → ligne",
    "operation.stage.total": "Tout le chemin",
    "operation.stages.caption": (
        "Par étape, ces dix dernières minutes, {count} mesures témoins. De plusieurs processeurs : le plus lent."
    ),
    "operation.way_history.caption": "Tout le chemin, seconde par seconde",
    "operation.work.title": "Travail",
    "operation.throughput.caption": "Messages lus et lignes écrites par seconde, ces dix dernières minutes",
    "operation.lag.caption": "Messages pas encore dans la base de données, ces dix dernières minutes",
    "operation.batches.caption": "Les {count} derniers lots : leur durée et, par la taille, leurs messages",
    "operation.batches.alt": "Durées des derniers lots, la plus longue {longest}",
    "operation.counts.caption": "Depuis le démarrage des processeurs, et en part des messages",
    "operation.counts.messages": "Messages",
    "operation.counts.rows": "Lignes écrites",
    "operation.counts.duplicates": "Doublons écartés",
    "operation.counts.late": "Mesures en retard",
    "operation.counts.rejected": "Rejetés",
    "operation.counts.windows": "Fenêtres écrites",
    "operation.counts.retried": "Lots recommencés",
    "operation.counts.skewed": "Étapes de durée négative (horloges en désaccord)",
    "operation.rejected.reasons": "Motifs de rejet :",
    "operation.rejected.empty": "vide",
    "operation.rejected.too_large": "trop long",
    "operation.rejected.not_utf8": "pas en UTF-8",
    "operation.rejected.not_json": "pas en JSON",
    "operation.rejected.not_an_object": "pas un objet",
    "operation.rejected.missing_field": "champ absent",
    "operation.rejected.duplicate_field": "champ en double",
    "operation.rejected.wrong_type": "type erroné",
    "operation.rejected.unsupported_schema": "schéma inconnu",
    "operation.rejected.invalid_text": "texte non valable",
    "operation.rejected.out_of_range": "hors limites",
    "operation.rejected.future": "dans le futur",
    "operation.rejected.refused_by_database": "refusé par la base",
    # Passerelles
    "operation.gateways.title": "Passerelles",
    "operation.gateways.state": "Seulement",
    "operation.gateways.search": "Nom",
    "operation.gateways.search.placeholder": "partie d’un nom",
    "operation.gateways.more": "{count} de plus : cherchez par nom",
    "operation.gateways.honest": (
        "Ce qui attend dans la file d’une passerelle n’est connu que d’elle, par ses propres /metrics et "
        "`vigie-gateway`. Ici, c’est estimé (≈) d’après le retard de sa dernière mesure et son rythme ; pour une "
        "passerelle muette, c’est le maximum (≤), si elle mesure encore."
    ),
    "operation.gateway.silent": "Muette",
    "operation.gateway.behind": "En retard",
    "operation.gateway.clock": "Horloge",
    "operation.gateway.ok": "Émet",
    "operation.clock.synced": "à l’heure",
    "operation.clock.estimated": "estimée",
    "operation.clock.ahead": "en avance",
    "operation.gateway.column.state": "État",
    "operation.gateway.column.gateway_id": "Passerelle",
    "operation.gateway.column.arrival_age": "Dernière arrivée",
    "operation.gateway.column.delay": "Délai jusqu’à la ligne",
    "operation.gateway.column.waiting": "En file",
    "operation.gateway.column.clock": "Horloge",
    "operation.gateway.column.missing": "Manquantes",
    "operation.gateway.column.late": "En retard",
    "operation.gateway.column.sensors": "Capteurs",
    "operation.gateway.column.streams": "Flux",
    "operation.gateway.column.partitions": "Partition",
    "operation.gateway.column.expired": "Expirées",
    # Pertes
    "operation.losses.title": "Pertes",
    "operation.losses.none": "Aucune mesure ne manque : aucun flux n’a de trou.",
    "operation.losses.total.one": "Il manque {count} mesure, dans {holes} trou, entre les heures de ses voisines.",
    "operation.losses.total.other": (
        "Il manque {count} mesures, dans {holes} trous, chacun entre les heures de ses voisines."
    ),
    "operation.losses.newest": "Les {count} trous les plus récents sont affichés.",
    "operation.losses.missing": "mesures manquantes",
    "operation.losses.table": "Tous les trous en tableau",
    "operation.loss.column.gateway_id": "Passerelle",
    "operation.loss.column.stream_id": "Flux",
    "operation.loss.column.readings": "Mesures",
    "operation.loss.column.numbers": "Numéros",
    "operation.loss.column.after_time": "Après",
    "operation.loss.column.before_time": "Avant",
    "operation.loss.column.age": "Constatée",
    # Processeurs
    "operation.processors.title": "Processeurs",
    "operation.processors.none": "Aucun processeur n’a donné signe de vie depuis une heure.",
    "operation.processor.healthy": "En forme",
    "operation.processor.starting": "Démarre",
    "operation.processor.degraded": "Dégradé",
    "operation.processor.failed": "En échec",
    "operation.processor.gone": "Disparu",
    "operation.answer.heard": "répond",
    "operation.answer.no_endpoint": "sans adresse",
    "operation.answer.not_asked": "non interrogé",
    "operation.answer.not_reachable": "injoignable d’ici",
    "operation.answer.no_answer_in_time": "pas de réponse à temps",
    "operation.answer.not_a_processor": "réponse d’autre chose",
    "operation.answer.not_an_address": "pas une adresse",
    "operation.processor.column.state": "État",
    "operation.processor.column.name": "Processeur · fil",
    "operation.processor.column.partitions": "Partitions",
    "operation.processor.column.lag": "En attente",
    "operation.processor.column.rate": "Débit",
    "operation.processor.column.age": "Signe de vie",
    "operation.processor.column.uptime": "En marche depuis",
    "operation.processor.column.answer": "Réponse",
    "operation.processor.column.host": "Machine",
    "operation.processor.column.version": "Version",
    "operation.processor.column.group": "Groupe",
    "operation.processor.column.endpoint": "Adresse",
    "operation.partitions.title": "Partitions",
    "operation.partitions.nobody": "personne",
    "operation.partition.column.topic": "Sujet",
    "operation.partition.column.partition": "Partition",
    "operation.partition.column.reader": "Lue par",
    "operation.partition.column.lag": "En attente",
    "operation.partition.column.next_offset": "En base jusqu’à",
    "operation.partition.column.end": "Fin dans Kafka",
    "operation.partition.column.age": "Dernière validation",
    "operation.notifications.title": "Notifications",
    "operation.notifications.none": "Rien n’attend d’être dit au webhook.",
    "operation.notifications.waiting.one": "{count} notification attend, depuis {age}.",
    "operation.notifications.waiting.other": "{count} notifications attendent, la plus ancienne depuis {age}.",
    "operation.notifications.error": "Après {attempts} essais, dernière erreur : {error}",
}
